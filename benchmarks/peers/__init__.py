"""One module a peer, each imported in the peer's own environment only.

A module has, for a `workload` and the `folder` with the peer's data of it:

- ``prepare(workload, rows)``: rows (maps from field to value) as the peer takes samples;
- ``write(workload, samples, folder)``: writes samples, however many come;
- ``batches(workload, folder)``: maps from field to stacked array or list, 32 samples each;
- ``singles(workload, folder)``, ``shuffled(workload, folder)``: the samples one by one;
- ``value(sample, name)``: a field of one of them.

A peer is measured in those of them that it has.
"""
