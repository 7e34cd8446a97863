//! Reports over one profile: top, tree, call trees, differences.
