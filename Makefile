.PHONY: demo test format

demo: ## Set everything up and show the whole system at work
	@scripts/setup --demo
	@.venv/bin/saga demo

test: ## From nothing to green: checks, types, import rules and all tests
	@scripts/setup --system
	@scripts/check

format: ## Format and fix what can be fixed
	.venv/bin/ruff format
	.venv/bin/ruff check --fix
