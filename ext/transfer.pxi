# What arrives on a socket goes into a file: transfer.h as objects.
