"""Networks and classifiers, in float32 and in whole numbers, and what is known of them: files, summaries, costs."""
