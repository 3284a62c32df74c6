"""The CPU engine: Python that writes machine code. llvmlite lives here and nowhere else.

What stands:

    machine    what this machine is to us: vector width, registers, caches, cores; TWOFOLD_ISA asks for a lesser one
    binary     LLVM IR as text -> machine code in this process, by way of a checked cache on disk

What is to come: the vocabulary of loops and vectors over IR text, the micro-kernels and the drivers that call them,
threads, and the planner that chooses among them. Until then `functional` runs the reference.
"""
