"""Test sets to hypothesis files, whatever decodes."""
