"""metric_retrieval, through ``mmcl.evaluation.retrieval`` and ``mmcl.evaluation.summaries``."""

from collections.abc import Iterator

import numpy as np

from mmcl.evaluation import summaries
from mmcl.evaluation.retrieval import CUTOFFS, Floats, Items, first_hits, mean_average_precision, recall_scores

from ..case import DEFAULT_TOLERANCES, Case, Parity


def uneven(similarity: Floats) -> Iterator[Floats]:
    """Blocks of one row, of two rows, of three, ..."""
    begin, rows = 0, 1
    while begin < len(similarity):
        yield similarity[begin : begin + rows]
        begin, rows = begin + rows, rows + 1


def check_retrieval(case: Case) -> None:
    similarity, owner = case.tensor("in_sim").numpy(), case.arrays["in_text_owner"]
    images = np.arange(len(similarity))
    of_images = first_hits(uneven(similarity), images, owner)
    of_texts = first_hits(uneven(similarity.T), owner, images)
    scores = recall_scores(of_images, of_texts)
    case.expect("out_i2t_recall", [scores[f"txt_r{cutoff}"] for cutoff in CUTOFFS])
    case.expect("out_t2i_recall", [scores[f"img_r{cutoff}"] for cutoff in CUTOFFS])
    case.expect("out_mean_r1", scores["mean_r1"])
    case.expect("out_r_mean", scores["r_mean"])

    queries = Items(case.arrays["in_query_ids"], case.arrays["in_query_labels"])
    gallery = Items(case.arrays["in_gallery_ids"], case.arrays["in_gallery_labels"])
    known = (queries.categories[:, None] == gallery.categories).sum(1)
    case.expect("out_map", mean_average_precision(uneven(case.tensor("in_mm_sim").numpy()), queries, gallery, known))

    so_far, final = case.arrays["in_sofar_curve"], case.arrays["in_final_curve"]
    R = np.full((len(so_far), len(so_far)), np.nan)
    np.fill_diagonal(R, so_far)
    R[-1] = final
    case.expect("out_forgetting", summaries.forgetting_first(R))
    case.require_all(case.names("out_"))


PARITY = {"metric_retrieval": Parity(check_retrieval, DEFAULT_TOLERANCES)}
