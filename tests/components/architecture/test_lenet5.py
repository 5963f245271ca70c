import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.architecture import LeNet5

CENTRE = {(8, 8): (slice(12, 20), slice(12, 20)), (31, 33): (slice(0, 31), slice(0, 33))}


@pytest.mark.parametrize("size", CENTRE)
def test_small_images_are_padded_on_all_sides(size: tuple[int, int]) -> None:
    module, image = LeNet5(3), jax.random.normal(jax.random.key(0), (2, *size, 1))
    padded = np.zeros((2, 32, max(size[1], 32), 1), np.float32)
    padded[:, *CENTRE[size]] = image

    @jax.jit
    def first_maps(*images: jax.Array) -> list[jax.Array]:
        variables = module.init(jax.random.key(1), images[0], train=True)
        return [module.apply(variables, x, train=False).features["c1"] for x in images]

    np.testing.assert_allclose(*first_maps(image, padded), rtol=1e-5, atol=1e-6)


def test_its_maps_have_the_papers_sizes() -> None:
    def features(x: jax.Array) -> dict[str, jax.Array]:
        return LeNet5(10).init_with_output(jax.random.key(0), x, train=True)[0].features

    shapes = jax.eval_shape(features, jnp.zeros((1, 28, 28, 1)))
    assert {stage: feature.shape[1:] for stage, feature in shapes.items()} == {
        "c1": (28, 28, 6),
        "s2": (14, 14, 6),
        "c3": (10, 10, 16),
        "s4": (5, 5, 16),
        "c5": (120,),
        "f6": (84,),
    }
