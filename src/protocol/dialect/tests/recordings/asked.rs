//! What a request says, whoever is asked.
