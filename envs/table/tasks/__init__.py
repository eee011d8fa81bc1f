"""Tasks on the table: one file each, with everything that is known about its objects."""
