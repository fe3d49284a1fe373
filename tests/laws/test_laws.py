"""Laws as values: published numbers, limits, inverses, names."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.errors import FitError, SpecError
from scaling.laws.coupled import Skaling
from scaling.laws.distillation import Busbridge
from scaling.laws.inverse import where_it_falls_to
from scaling.laws.kaplan import KaplanND, PowerLaw
from scaling.laws.law import LAWS
from scaling.laws.named import named_law
from scaling.laws.size_and_data import Chinchilla, Tied
from scaling.laws.teacher import Bottleneck, Composite, Mixture

BESIROGLU = Chinchilla(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)


def test_infinite_data_leaves_the_published_loss_of_a_size():
    assert float(BESIROGLU.loss(n=1e8, d=np.inf)) == pytest.approx(2.613, abs=5e-4)


def test_kaplan_joint_law_has_both_single_laws_as_limits():
    law = KaplanND(N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103)
    assert law.loss(n=1e9, d=np.inf) == pytest.approx((6.4e13 / 1e9) ** 0.076)
    assert law.loss(n=np.inf, d=1e10) == pytest.approx((1.8e13 / 1e10) ** 0.103)


@given(n=st.floats(1e5, 1e12), d=st.floats(1e6, 1e13))
@settings(max_examples=60, deadline=None)
def test_solving_for_size_undoes_the_loss(n, d):
    loss = BESIROGLU.loss(n=n, d=d)
    assert BESIROGLU.inverse("n", loss, d=d) == pytest.approx(n, rel=1e-6)
    assert BESIROGLU.inverse("d", loss, n=n) == pytest.approx(d, rel=1e-6)


def test_a_loss_below_the_floor_needs_an_infinite_model():
    assert BESIROGLU.inverse("n", 1.8, d=np.inf) == np.inf


def test_skaling_with_unit_power_is_chinchilla():
    law = Skaling(E=1.8172, A=482.01, R=2085.43 / 482.01, alpha=0.3478, beta=0.3658, k=1.0)
    n, d = np.array([1e7, 1e9]), np.array([1e9, 1e11])
    np.testing.assert_allclose(law.loss(n=n, d=d), BESIROGLU.loss(n=n, d=d), rtol=1e-12)


def test_tied_exponents_are_chinchilla_with_equal_ones():
    tied = Tied(E=1.9, A=500.0, B=1500.0, alpha=0.35)
    both = Chinchilla(E=1.9, A=500.0, B=1500.0, alpha=0.35, beta=0.35)
    assert tied.loss(n=1e8, d=1e9) == pytest.approx(both.loss(n=1e8, d=1e9))


def test_the_repr_shows_the_formula_with_its_numbers():
    assert repr(BESIROGLU) == "Chinchilla: L = 1.817 + 482/N^0.3478 + 2085/D^0.3658"
    assert repr(PowerLaw()) == "power law with a floor: L = E + A/x^alpha"


def test_a_law_cannot_be_changed():
    with pytest.raises(AttributeError, match="immutable"):
        BESIROGLU.E = 2.0


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"E": 1.0}, "missing A, B"),
        (dict.fromkeys("EAB", 1.0) | {"alpha": -0.1, "beta": 0.3}, "alpha = -0.1"),
        ({"gamma": 1.0}, "missing"),
    ],
)
def test_impossible_coefficients_are_named(values, what):
    with pytest.raises(SpecError, match=what):
        Chinchilla(**values)


def test_a_form_without_numbers_does_not_predict():
    with pytest.raises(FitError, match="no numbers"):
        Chinchilla().loss(n=1e8, d=1e9)


def test_a_misspelt_law_suggests_the_right_one():
    with pytest.raises(SpecError, match="did you mean 'chinchilla'"):
        named_law("chinchila")


@pytest.mark.parametrize("name", LAWS)
def test_search_coordinates_lead_back_and_their_slope_is_that_of_the_way_back(name, coefficients_of):
    law = LAWS[name]()
    theta = coefficients_of(law, 3)
    u, step = law.to_search(theta), 1e-6
    np.testing.assert_allclose(law.from_search(u), theta, rtol=1e-12)
    slope = (law.from_search(u + step) - law.from_search(u - step)) / (2 * step)
    np.testing.assert_allclose(law.per_search(theta), slope, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (
            "tied+chinchilla",
            "'chinchilla' stands on no base, got base 'tied': write chinchilla alone; on a base ",
        ),
        ("kaplan-n+q1", "base 'kaplan-n' has no additive floor; choose from chinchilla, tied"),
        ("tied+skaling+q1", r"'q1' stands on one base, got tied\+skaling: write BASE\+LAW"),
        ("tied+stack", "'stack' is no law but a choice among laws"),
        ("tied+hoffmann", "'hoffmann' is a published law"),
        ("teid+q1", "unknown law 'teid' — did you mean 'tied'"),
    ],
)
def test_a_base_that_a_law_does_not_stand_on_is_named(name, what):
    with pytest.raises(SpecError, match=what):
        named_law(name)


@pytest.mark.parametrize("own", [*LAWS, "stack", "auto", ""])
def test_every_pair_of_names_is_a_law_or_refused_for_the_pair(own):
    refused = []
    for base in (*LAWS, "stack", "auto", ""):
        try:
            law = named_law(f"{base}+{own}")
        except SpecError as error:
            refused.append(str(error))
        else:
            assert law.structure()["base"] == base
            assert named_law(law.label) == law
    assert not [said for said in refused if "missing" in said], "numbers are not what was asked for"


def test_what_a_law_is_not_built_with_is_named():
    with pytest.raises(SpecError, match="'tied' is not built with teachers: leave that out"):
        named_law("tied", teachers=["real"])
    with pytest.raises(SpecError, match="'q1' stands on one base, got tied"):
        named_law("tied+q1", base="skaling")


def test_every_base_law_falls_with_size_and_data():
    for name in ("chinchilla", "tied", "skaling", "bounded"):
        law = named_law(name)
        numbers = {"E": 1.5, "A": 300.0, "B": 900.0, "R": 2.0, "alpha": 0.3, "beta": 0.35, "k": 0.7}
        law = law.with_values({key: numbers[key] for key in law.names})
        sizes = np.geomspace(1e6, 1e12, 20)
        assert (np.diff(law.loss(n=sizes, d=1e9)) < 0).all()
        assert (np.diff(law.loss(n=1e9, d=sizes)) < 0).all()


def test_the_composite_contains_the_additive_floor_and_the_bottleneck():
    base = {"E": 1.4, "A": 2.0, "B": 5e4, "alpha": 0.25, "beta": 1.0}
    x = {"n": 1e5, "d": 1e6}
    excess = 2.0 * 1e5**-0.25 + 5e4 * 1e6**-1.0
    noisy = Composite(**base, kappa=1.0, c=0.0, nu=1.0).loss(**x, delta_noise=0.3, delta_coverage=0.0)
    assert noisy == pytest.approx(1.4 + 0.3 + excess)
    covered = Composite(**base, kappa=1.0, c=0.0, nu=5.0).loss(**x, delta_noise=0.0, delta_coverage=0.3)
    assert covered == pytest.approx(
        Bottleneck(**base, kappa=1.0, nu=5.0).loss(**x, delta_noise=0.0, delta_coverage=0.3)
    )
    assert covered == pytest.approx(1.4 + (excess**5 + 0.3**5) ** 0.2)


MIXTURE = Mixture(E=1.4, A=2.0, B=50.0, alpha=0.25, beta=0.3, kappa=1.0)


@pytest.mark.parametrize(
    ("share", "mixed", "floor"),
    [(0.0, 0.3, 1.7), (0.01, 0.0, 1.4), (0.01, 0.2, 1.6), (1.0, 0.0, 1.4)],
    ids=["teacher alone", "long documents", "short documents", "real"],
)
def test_what_stays_of_a_mixture_is_its_own_divergence_not_its_teachers(share, mixed, floor):
    infinite = {"n": np.inf, "d": np.inf, "delta_coverage": 0.0, "generator_delta_coverage": 0.0}
    loss = MIXTURE.loss(**infinite, delta_noise=mixed, generator_delta_noise=0.3, real_share=share)
    assert loss == pytest.approx(floor, abs=1e-6)


def test_a_student_that_has_read_little_real_text_of_a_mixture_loses_the_teachers_share_of_its_divergence():
    x = {"n": 1e6, "delta_coverage": 0.0, "generator_delta_coverage": 0.0, "generator_delta_noise": 0.3}
    share, d = 0.2, np.geomspace(1e1, 1e14, 400)
    real = MIXTURE.loss(n=1e6, d=d, **dict.fromkeys(MIXTURE.columns[2:6], 0.0), real_share=1.0)
    above = MIXTURE.loss(**x, d=d, delta_noise=0.05, real_share=share) - real
    assert above[0] == pytest.approx((1 - share) * 0.3, rel=0.02)
    assert above[-1] == pytest.approx(0.05, rel=0.1)
    assert (np.diff(above) < 0).all(), "from the plateau down to what stays"


def test_the_best_teacher_brings_the_distillation_law_to_the_supervised_one():
    # Busbridge et al. 2025, figure 40: within half a per cent for 0.1 to 10 billion parameters.
    law = Busbridge(
        E=1.220, A=3355, B=18186, alpha=0.408, beta=0.431, gamma=0.452,
        A2=2243, B2=24181, alpha2=0.321, beta2=0.637, gamma2=0.764, c0=2.549, c1=522.6, f1=0.090, d1=1.315,
    )  # fmt: skip
    teachers = np.linspace(1.3, 3.5, 400)
    for n in (1e8, 1e9, 1e10):
        best = law.loss(n=n, d=np.inf, teacher_loss=teachers).min()
        assert best == pytest.approx(float(law.loss(n=n, d=np.inf, teacher_loss=0.0)), rel=0.007)


def test_an_inverse_is_found_where_the_law_says_nothing_of_less_than_one_token():
    found = where_it_falls_to(1.0, lambda d: 10 / np.sqrt(np.log(d)), (2,))
    assert found == pytest.approx(np.full(2, np.exp(100.0)), rel=1e-9)


def test_an_inverse_in_what_the_loss_does_not_depend_on_is_nothing_or_infinity():
    found = where_it_falls_to([2.5, 1.5], lambda d: np.full_like(d, 2.0), (2,))
    assert found.tolist() == [0.0, np.inf], "any number does, or none does"


def test_an_inverse_that_only_the_limit_reaches_is_infinite():
    assert where_it_falls_to(1.01, lambda d: 1 + d**-1e-3, (1,)).tolist() == [np.inf]
