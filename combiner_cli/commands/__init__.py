"""The commands, one file each, and what they share: options, what people see, the reading of .cmb files."""
