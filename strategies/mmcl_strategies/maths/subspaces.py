"""Subspaces: the directions that hold most of the energy of rows, and what of an update lies inside or outside them.

Rows have D numbers each and are not centred. N rows X are known by their moment ``X^T X``, whose eigenvectors are the
right singular vectors of X and whose eigenvalues are the squares of its singular values.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

Basis = Float64[Tensor, "D m"]  # orthonormal columns


def moment(rows: Float[Tensor, "*N D"]) -> Float64[Tensor, "D D"]:
    """``X^T X`` in double precision; moments of several batches add up."""
    found = rows.flatten(0, -2).double()
    return found.T @ found


def extended(basis: Basis, moment: Float64[Tensor, "D D"], share: float) -> Float64[Tensor, "D _"]:
    """The basis with the fewest directions of what it leaves of X that bring it to a share of the energy of X.

    With ``X' = X (I - Q Q^T)`` these are the k leading right singular vectors of X', k being the smallest number with
    ``||X Q||^2 + sum_{i <= k} s_i(X')^2 >= share ||X||^2``; none if it is there already.

    Args:
        basis: Q; without a column to begin with.
        moment: of X.
        share: from 0 to less than 1.
    """
    free = torch.eye(len(basis), dtype=basis.dtype, device=basis.device) - basis @ basis.T
    energies, directions = torch.linalg.eigh(free @ moment @ free)
    wanted, held = share * moment.trace(), (basis.T @ moment @ basis).trace()
    reached = held + energies.clamp(min=0).flip(0).cumsum(0)
    missing = 0 if bool(held >= wanted) else int((reached < wanted).sum()) + 1
    added = directions.flip(1)[:, :missing]
    return torch.linalg.qr(torch.cat([basis, added], dim=1)).Q if added.shape[1] else basis


def inside(update: Float[Tensor, "*L D"], basis: Basis) -> Float64[Tensor, "*L D"]:
    """``g Q Q^T``: what lies in the subspace."""
    return update.double() @ basis @ basis.T


def outside(update: Float[Tensor, "*L D"], basis: Basis) -> Float64[Tensor, "*L D"]:
    """``g (I - Q Q^T)``: what lies across it."""
    return update.double() - inside(update, basis)
