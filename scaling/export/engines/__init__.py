"""Phone engines, one file each: a class that runs the files of some formats in a process of its own."""
