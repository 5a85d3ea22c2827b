//! Tables over whole configurations.
