"""The scikit-learn user: a network in a pipeline, its levels and sparsity by cross-validation, then a C program."""

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from hntk.sklearn import CompressedClassifier, TernaryFeatures

X, y = load_digits(return_X_y=True, as_frame=True)
labels = y.map("digit {}".format)
X, X_test, labels, labels_test = train_test_split(X.astype("uint8"), labels, test_size=0.25, random_state=0)

# ternary features before a classifier of one's own
pipeline = make_pipeline(TernaryFeatures(128, random_state=0), LogisticRegression(max_iter=300))
pipeline_score = pipeline.fit(X, labels).score(X_test, labels_test)

# or all in one, which can become a program
grid = {"levels": [2, 8], "sparsity": [0.5, 0.75]}
search = GridSearchCV(CompressedClassifier(128, random_state=0), grid, cv=2).fit(X, labels)
program = search.best_estimator_.to_c("digits")
print(f"pipeline {pipeline_score:.3f}; best {search.best_params_}: {search.score(X_test, labels_test):.3f}")
print(f"as C: {program.table_bytes} bytes of tables")
