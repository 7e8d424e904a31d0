/* SPDX-License-Identifier: Apache-2.0 */
/* What a step of clsample_generate does beside the model and the sampler, a work-item a row.
 * `ends` has the ids that end a text, then the stop sequences: of each its length, then its ids. */

#include "shared/canonical.h"
#include "shared/interface.h"
#include "shared/texts.h"

CLS_FN int cls_is_eos(cls_text_ends rules, __global const int *ends, int token)
{
    int found = 0;

    for (uint i = 0; i < rules.eos; i++)
        found |= ends[i] == token;
    return found;
}

/* Do the `count` tokens that end before `end` have a stop sequence at their end? */
CLS_FN int cls_stops(cls_text_ends rules, __global const int *ends, __global const int *end, uint count)
{
    __global const int *stop = ends + rules.eos;
    int found = 0;

    for (uint s = 0; s < rules.stops; s++) {
        const uint length = (uint)stop[0];
        uint same = 0;
        while (length <= count && same < length && stop[1 + same] == (end - length)[same])
            same++;
        found |= same == length;
        stop += 1 + length;
    }
    return found;
}

/* Say which rows a step's tokens end, once the sampler has put them into their histories. ids int32 [rows,
 * rules.stride]: the histories; states [rows]; results [rows]: what the sampler left; tokens [.., rows], of
 * which step `slot` is written. Global size: rows. */
__kernel void cls_finish(__global const int *restrict ids, __global cls_row_state *restrict states,
                         __global const cls_result *restrict results, __global const int *restrict ends,
                         cls_text_ends rules, __global cls_text_token *restrict tokens, uint slot)
{
    const uint r = get_global_id(0);
    const cls_result result = results[r];
    const cls_row_state row = states[r];
    __global const int *end = ids + r * (size_t)rules.stride + row.length;
    uint finish = row.finish;

    if (finish == CLS_FINISH_NONE && result.token < 0) {
        finish = CLS_FINISH_NO_TOKEN;
    } else if (finish == CLS_FINISH_NONE) {
        const uint count = row.length - row.prompt;
        if (cls_is_eos(rules, ends, result.token))
            finish = CLS_FINISH_EOS;
        else if (count >= rules.min_tokens && cls_stops(rules, ends, end, count))
            finish = CLS_FINISH_STOP;
        else if (row.length == row.limit)
            finish = CLS_FINISH_LENGTH;
    }
    states[r].finish = finish;
    const cls_text_token token = { result.token, result.logprob, result.kept, finish, result.status };
    tokens[slot * get_global_size(0) + r] = token;
}
