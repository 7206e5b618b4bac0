"""Labelled data sets read from disk (IDX files or an .npz archive), centred and scaled as the theory asks."""

from hntk.data.dataset import Dataset, load_dataset

__all__ = ["Dataset", "load_dataset"]
