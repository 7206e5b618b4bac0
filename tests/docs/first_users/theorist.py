"""The theorist, in a notebook: is the spectrum of my network on my data that of the theory?"""

# %%
import jax
import numpy as np

import hntk
import hntk.plot

jax.config.update("jax_enable_x64", True)
data = hntk.reference_mixture(n=400, p=200, key=jax.random.key(0))
network = ["erf", "relu"]

# %% the exact kernel, and its equivalent from a few numbers a layer
exact = hntk.exact_kernels(data.x, network)
theory = hntk.equivalent_kernels(data.x, data.labels, network)
error = hntk.compare_kernels(exact.ck, theory.ck).operator
hntk.plot.spectrum({"exact": exact.ck, "equivalent": theory.ck}, spikes=2)

# %% the same without a sample: bulk, and spikes above it
law = hntk.asymptotics.estimate_law(data.x, data.labels)
limit = hntk.asymptotics.LimitingKernel.of(law, 400, network)
spikes = np.array([spike.value for spike in limit.spikes() if spike.value > limit.support().max()])
measured = hntk.spectrum(exact.ck, 2).values[:2]
hntk.plot.density(limit, exact.ck)
print(f"equivalent off by {error:.1%}; spikes {measured.round(3)} measured, {spikes.round(3)} predicted")
