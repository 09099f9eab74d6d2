//! Single properties of the engine, each by an example.
