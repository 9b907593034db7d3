"""How the weights of an arm may change, a module each."""
