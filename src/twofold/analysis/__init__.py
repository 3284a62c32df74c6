"""What follows from the equation: integers and index tables only, no numbers of any array.

`taps`    the multiplications of an operation as data: which output, input and weight cell meet in each
`copies`  which cell a padded cell copies, under each padding mode
"""
