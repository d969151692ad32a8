"""The only room that runs things: data, training, objective, study, workers, command line."""
