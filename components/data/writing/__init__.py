"""Writes the rows of any source into files that `TableFile` or `ImageFolders` reads."""
