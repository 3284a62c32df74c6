"""What follows from the equation: integers and index tables only, no numbers of any array.

`taps`     the multiplications as data: which output, input and weight cell meet in each
`copies`   which padded cells copy a cell, under each padding mode
`sizes`    the size equation solved for whatever is missing; the padding conventions of the frameworks
`overlap`  how many products land in each output cell: even, uneven, holes
`phases`   what a stride parts the fine side into, each part with its own kernel
`matrix`   the operation as a sparse matrix
`chain`    layers in a row: what a cell sees and reaches through them, by formula and exactly
"""
