"""Files that jwm reads and writes: clip folder, scene HDF5, video, exports; atomic writing and provenance."""
