"""Plays whole episodes, and scores policies that are saved or fixed."""
