"""The numbers of each suite, where they differ from the defaults: the paper's Atari."""
