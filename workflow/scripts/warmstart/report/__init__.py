"""The page, and the README of a bundle."""
