"""Refuse to import ``hntk.plot`` without matplotlib, with an error that names the extra."""

from hntk._utils.extras import import_extra

import_extra("matplotlib", "plot", "hntk.plot")
