"""Where runs are kept: folders of files, SQL."""
