.DEFAULT_GOAL := help
.PHONY: help demo up check prove test format

help: ## Show what there is to make
	@sed -nE 's/^([a-z]+): ## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## Set everything up and show the whole system at work
	@scripts/setup --demo
	@.venv/bin/saga demo

up: ## Run broker, database and services here until Ctrl-C
	@scripts/setup --demo
	@.venv/bin/saga up

check: ## Check what needs no servers, in a minute: format, lint, types, import rules, words, unit tests
	@scripts/setup
	@scripts/check

prove: ## Play 20,000 random schedules and search every state of one order
	@scripts/setup
	@SCHEDULES=20000 .venv/bin/python -m pytest tests/simulation

test: ## From nothing to green: all checks and all tests
	@scripts/setup --system
	@scripts/check
	@scripts/test

format: ## Format and fix what can be fixed
	@scripts/setup
	.venv/bin/ruff check --fix
	.venv/bin/ruff format
