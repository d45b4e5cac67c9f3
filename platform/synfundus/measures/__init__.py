"""The measures that diagnosis, samples and evaluation share: statistics, copies, wording, editions."""
