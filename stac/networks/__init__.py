"""Networks: torsos, recurrent core and heads, in Haiku."""
