"""Refuse to import the estimators without scikit-learn, with the remedy."""

from hntk._utils.extras import import_extra

import_extra("sklearn.base", "sklearn", "hntk.sklearn")
