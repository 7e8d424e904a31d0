/* SPDX-License-Identifier: Apache-2.0 */
/* llama.cpp's sampler chain on the CPU, from logits to token: the array of candidates, the chain, the choice.
 * */
#include "peer.h"

#include <llama.h>

typedef struct chain {
    const peer *p;
    struct llama_sampler *sampler;
    llama_token_data *candidates; /* [vocab] */
    long sum;                     /* of the tokens, so that nothing can be left out */
} chain;

/* `order` has a letter for each filter: t, m(in-p), k, p. */
static struct llama_sampler *make_chain(const peer *p, const char *order)
{
    struct llama_sampler *s = llama_sampler_chain_init(llama_sampler_chain_default_params());

    for (; *order; order++) {
        if (*order == 't') llama_sampler_chain_add(s, llama_sampler_init_temp(p->temperature));
        if (*order == 'm' && p->min_p > 0) llama_sampler_chain_add(s, llama_sampler_init_min_p(p->min_p, 1));
        if (*order == 'k' && p->top_k > 0) llama_sampler_chain_add(s, llama_sampler_init_top_k(p->top_k));
        if (*order == 'p' && p->top_p < 1) llama_sampler_chain_add(s, llama_sampler_init_top_p(p->top_p, 1));
    }
    llama_sampler_chain_add(s, llama_sampler_init_dist(1));
    return s;
}

static void run(void *state)
{
    chain *c = state;

    for (int row = 0; row < c->p->rows; row++) {
        const float *x = c->p->logits + (size_t)row * (size_t)c->p->vocab;
        for (int i = 0; i < c->p->vocab; i++)
            c->candidates[i] = (llama_token_data){ i, x[i], 0.0f };
        llama_token_data_array all = { c->candidates, (size_t)c->p->vocab, -1, false };
        llama_sampler_apply(c->sampler, &all);
        c->sum += all.data[all.selected].id;
    }
}

int main(int argc, char **argv)
{
    const peer p = peer_open(argc, argv);
    static const char *const orders[] = { "tmkp", "kpmt", "t" };
    chain c[3];
    int next;

    for (int i = 0; i < 3; i++) {
        c[i] = (chain){ .p = &p, .sampler = make_chain(&p, orders[i]) };
        c[i].candidates = malloc((size_t)p.vocab * sizeof *c[i].candidates);
        if (!c[i].candidates) peer_die("out of memory");
    }
    printf("{\"cases\": [[\"filters\", \"llama.cpp chain, the article's order\"], "
           "[\"filters\", \"llama.cpp chain, top-k first\"], [\"draw\", \"llama.cpp chain\"]]}\n");
    fflush(stdout);
    while ((next = peer_next()) >= 0)
        peer_measure(&p, run, &c[next % 3]);
    for (int i = 0; i < 3; i++) {
        llama_sampler_free(c[i].sampler);
        free(c[i].candidates);
    }
    free(p.logits);
    return 0;
}
