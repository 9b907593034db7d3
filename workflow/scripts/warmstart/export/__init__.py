"""Models in the form in which they ship."""
