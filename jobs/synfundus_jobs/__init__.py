"""The command line of SynFundus: `synfundus VERB`, or `python -m synfundus_jobs VERB`. The work is in the library."""
