"""The sub-commands, a module for each family; imported when one of it is run."""
