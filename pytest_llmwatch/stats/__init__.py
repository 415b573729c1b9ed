"""Arrays in, numbers out: the statistics of the gate. The only importer of scipy and numpy; knows no call."""
