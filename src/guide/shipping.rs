//! Shipping
