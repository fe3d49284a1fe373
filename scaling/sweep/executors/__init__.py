"""Ways to start workers, one file each. An executor decides nothing: who trains which trunk is settled by claims."""
