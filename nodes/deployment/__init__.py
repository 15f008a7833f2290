"""Which processes run where: the description a person writes, and the plan made from it."""
