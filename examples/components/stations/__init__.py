"""What stations measure, as datasets."""
