"""The command line: each command is one call to a room below, and says in words what it did.

    app        the commands by name, and the help that `twofold` alone prints
    run        runs a command line and turns whatever goes wrong into one sentence and an exit code
    values     what options are spelled like: "2,1", "1:2,0:1", "same"
    operands   inputs, kernels and biases, from files, filter names and text
    layer      an operation as the options of `conv` and `conv-transpose` describe it: operands -> one call -> result
    results    where a result goes: numbers on the terminal, an array file, a picture
    console    how anything is printed: quiet, colourless, ASCII or JSON where that is asked for

The commands themselves: `convolve` (conv, conv-transpose), `explain`, `sizes`, `tour`, `bench`, `doctor` (with
`machine`) and `cache`. Heavy guests are imported inside the commands, so that `twofold --help` is quick.
"""
