"""Make pictures from noise: one model loaded, any number of them, grids, single files and animations."""
