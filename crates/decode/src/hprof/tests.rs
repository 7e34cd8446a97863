//! Tests of the reader on dumps built here.
