use super::fill;
