"""Style encoders taught through a frozen model: the recipe, the readers, the task and its run."""
