//! Compares what a device computed with the reference, within the numeric budget.
