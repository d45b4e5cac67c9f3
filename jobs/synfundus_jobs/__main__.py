"""`python -m synfundus_jobs VERB`: the command line by name, as in the entrypoint of a RayJob."""

from synfundus_jobs.cli import run

if __name__ == "__main__":
    run()
