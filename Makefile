# make verify   deploy a cluster, verify it, write the report
# make test     the tests that this machine can run in a quarter of an hour; make test-all the others too
# make image    local Docker images of the embedded node
# make bench    this project's speed against other clients', on the same nodes
# make clients  which client stacks resume on the nodes
# make destroy  stop every node of this checkout

SHELL := /bin/bash
.DEFAULT_GOAL := help
INVENTORY ?= inventory/local
EXTRA ?=
COMPARE ?=
FUZZ_SECONDS ?= 3600
TARGETS ?=
WORKERS ?= 4
VENV := .venv
PYTHON ?= python3

# Named outright: Ansible ignores an ansible.cfg that lies in a world-writable folder.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# What Ansible and its tools keep for themselves stays in the checkout.
export ANSIBLE_HOME := $(CURDIR)/.ansible
# Ansible refuses LC_ALL=C and takes LANG=C, with which it is told in ASCII all the same.
ifneq ($(filter C POSIX,$(LC_ALL)),)
unexport LC_ALL
export LANG := C
endif
# Into a pipe or a file Ansible prints in blocks, and what a run costs would be told when it is over.
export PYTHONUNBUFFERED := 1
# Tools that the playbooks and molecule start by name.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# What the embedded node runs on; what its tests and cross-checks need on top.
NODE_PACKAGES := erlang-base erlang-asn1 erlang-crypto erlang-inets \
  erlang-public-key erlang-ssl
# RabbitMQ itself, in molecule/staging, is unpacked and not installed; this is what it runs on.
RABBITMQ_NEEDS := erlang-eldap erlang-mnesia erlang-os-mon erlang-syntax-tools \
  erlang-tools erlang-xmerl
TEST_PACKAGES := $(NODE_PACKAGES) $(RABBITMQ_NEEDS) chromium erlang-eunit fonts-dejavu-core git \
  gnutls-bin iproute2 openssl openssh-client openssh-server procps ruby-hocon

# Only an inventory of embedded nodes needs Erlang here.
EMBEDDED = $(shell grep -rqsE '^ *emqx_driver: *embedded' $(INVENTORY) && echo yes)
# Load balancers run here where the nodes do.
BALANCER_PACKAGES := haproxy
TEST_PACKAGES += $(BALANCER_PACKAGES)
# The client stacks that the gate tries, those beyond Python's and Erlang's own.
TEST_PACKAGES += gcc libc6-dev libssl-dev
# What `make bench` measures beside this project, and what it runs on.
BENCH_PACKAGES := $(NODE_PACKAGES) gnutls-bin libnss3-tools openssl
ROUNDS ?= 5
BALANCED = $(shell grep -rqsE '^ *emqx_driver: *(embedded|docker)' $(INVENTORY) && \
  grep -rqsE '^ *\[?load_balancer(:|\])' $(INVENTORY) && echo yes)
PLAYBOOK = ansible-playbook -i $(INVENTORY)
# In JSON, since a path may hold blanks.
COMPARED = $(if $(COMPARE),-e '{"resumption_compare": "$(COMPARE)"}')
comma := ,
space := $() $()
# Client stacks, by name; none is all.
STACKS ?=
TRIED = $(if $(strip $(STACKS)),\
  -e resumption_client_stacks=$(subst $(space),$(comma),$(strip $(STACKS))))

.PHONY: help verify deploy check test test-all test-debian13 bench bench-publish fuzz lint docs \
  image upgrade upgrade-check upgrade-table stacks clients clients-check clients-table destroy clean

help:
	@echo "make verify [INVENTORY=inventory/local] [COMPARE=reports/latest] [EXTRA='-e name=value']"
	@echo "             deploy the inventory's cluster, verify it, write the report; with COMPARE"
	@echo "             tell what changed since an earlier run"
	@echo "make check   show what verify would do: plan, handshake budget, config diff"
	@echo "make deploy  deploy only"
	@echo "make test [WORKERS=4]"
	@echo "             every test but those that take long, so many of them side by side"
	@echo "make test-all"
	@echo "             and those that take long"
	@echo "make test-debian13 [TRY='make verify']"
	@echo "             as root: make verify and make test, or what TRY names, on a bare Debian 13;"
	@echo "             see docs/debian13.md"
	@echo "make bench [ROUNDS=5]"
	@echo "             this project's speed against openssl's, NSS's, GnuTLS's and sslyze's,"
	@echo "             see docs/benchmark.md; 'make bench-publish' puts the last run's into that page"
	@echo "make fuzz [FUZZ_SECONDS=3600]"
	@echo "             hostile bytes by a coverage-guided fuzzer, see docs/fuzzing.md"
	@echo "make lint    ansible-lint, yamllint, ruff, mypy, shellcheck"
	@echo "make docs    write docs/conformance.md and the table of docs/staging.md from the registry of"
	@echo "             checks, the table of docs/known-deviations.md from known_deviations/,"
	@echo "             docs/upgrade.md from upgrade_table/measured.json, and docs/clients.md and"
	@echo "             README's table of client stacks from client_stacks/measured.json"
	@echo "make image [OTP='25 27 29']"
	@echo "             build Docker images of the embedded OTP node (not EMQX) from Debian packages"
	@echo "make upgrade INVENTORY=inventory/upgrade"
	@echo "             deploy emqx_release and then emqx_next_release, ask every listener on both, and"
	@echo "             say what changes; 'make upgrade-check' says what it would do"
	@echo "make upgrade-table"
	@echo "             measure on these images what resumes on which EMQX and Erlang/OTP, and write it"
	@echo "             into docs/upgrade.md"
	@echo "make clients [INVENTORY=inventory/local] [STACKS='openssl erlang_ssl']"
	@echo "             which client stacks resume on the nodes, see docs/clients.md; 'make clients-check'"
	@echo "             says what it would do, and 'make stacks' builds the clients only; without STACKS"
	@echo "             they take about 1 GB of Debian packages"
	@echo "make clients-table"
	@echo "             try all of them, and write what was measured into docs/clients.md and README.md"
	@echo "make destroy stop every node of this checkout"
	@echo "make clean   destroy, and remove everything generated but the reports"

verify: $(VENV)/.installed node-packages
	@$(PLAYBOOK) playbooks/site.yml $(COMPARED) $(EXTRA)

check: $(VENV)/.installed
	@$(PLAYBOOK) playbooks/site.yml --check --diff $(COMPARED) $(EXTRA)

deploy: $(VENV)/.installed node-packages
	@$(PLAYBOOK) playbooks/deploy.yml $(EXTRA)

upgrade: $(VENV)/.installed node-packages
	@$(PLAYBOOK) playbooks/upgrade.yml $(EXTRA)

upgrade-check: $(VENV)/.installed
	@$(PLAYBOOK) playbooks/upgrade.yml --check --diff $(EXTRA)

stacks: $(VENV)/.installed
	@PYTHONPATH=playbooks/collections:. $(VENV)/bin/python -m client_stacks $(STACKS)

clients: $(VENV)/.installed node-packages stacks
	@$(PLAYBOOK) playbooks/deploy.yml playbooks/clients.yml $(TRIED) $(EXTRA)

clients-table: clients
	@PYTHONPATH=playbooks/collections:. $(VENV)/bin/python -m client_stacks.table \
	  reports/clients/latest/results.json

clients-check: $(VENV)/.installed
	@$(PLAYBOOK) playbooks/clients.yml --check $(TRIED) $(EXTRA)

# With an INVENTORY on the command line only its cluster; otherwise all of this checkout's, for
# which no inventory is needed: a broken one must not keep anybody from cleaning up.
destroy: $(VENV)/.installed
	@$(if $(filter command,$(origin INVENTORY)),$(PLAYBOOK) playbooks/destroy.yml,\
	  ansible-playbook -i localhost$(comma) playbooks/destroy.yml -e emqx_destroy_scope=all) $(EXTRA)

# All that tests need is there before the first begins, or is told to be missing.
test: test-needs
	@env -u PYTHONDONTWRITEBYTECODE pytest -n $(WORKERS) --gate --durations=15 $(EXTRA)

# And what the gate has no time for: it is marked beyond_gate, with the reason.
test-all: test-needs
	@env -u PYTHONDONTWRITEBYTECODE pytest -n $(WORKERS) --gate --all --durations=15 $(EXTRA)

test-debian13:
	@PACKAGES="$(TEST_PACKAGES)" WORKERS=$(WORKERS) scripts/test-debian13 $(if $(TRY),"$$TRY")

.PHONY: test-needs need-venv need-peers need-packages need-image need-rabbitmq
test-needs:
	@$(MAKE) --no-print-directory -j2 need-venv need-packages need-peers need-image need-rabbitmq

need-venv:
	@scripts/step "Python packages in $(VENV)" $(MAKE) -s $(VENV)/.installed-dev

need-peers:
	@scripts/step "Python packages in $(VENV)-peers" $(MAKE) -s $(VENV)-peers/.installed

need-packages:
	@scripts/step "Debian packages" \
	  scripts/debian-packages $(TEST_PACKAGES) $(if $(shell command -v docker),mmdebstrap)

need-image: need-venv need-packages
	@$(if $(shell command -v docker),\
	  scripts/step "local image of the embedded node" env VENV=$(VENV) scripts/make-image 25,\
	  echo "no docker command here: tests with containers are skipped")

need-rabbitmq: need-venv need-packages
	@PYTHONPATH=playbooks/collections scripts/step "RabbitMQ, unpacked" \
	  $(VENV)/bin/python molecule/shared/rabbitmq.py fetch

# It reuses what the tests have to run playbooks with.
bench: $(VENV)/.installed-dev $(VENV)-peers/.installed
	@scripts/debian-packages $(BENCH_PACKAGES)
	@PYTHONPATH=playbooks/collections:. $(VENV)/bin/python -m bench --rounds $(ROUNDS) $(EXTRA)

bench-publish: $(VENV)/.installed
	@$(VENV)/bin/python -m bench.page

lint: $(VENV)/.installed-dev
	@pytest -q tests/quality $(EXTRA)

fuzz: $(VENV)-fuzz/.installed
	@scripts/debian-packages openssl
	@PYTHONPATH=playbooks/collections:. $(VENV)-fuzz/bin/python -m tests.fuzz.run \
	  --seconds $(FUZZ_SECONDS) $(if $(TARGETS),--targets "$(TARGETS)")

docs: $(VENV)/.installed
	@PYTHONPATH=playbooks/collections $(VENV)/bin/python -c \
	  'from ansible_collections.emqx.conformance.plugins.module_utils.report import \
	     document, staging_cost; document.write(); staging_cost.write()'
	@PYTHONPATH=playbooks/collections:. $(VENV)/bin/python -m upgrade_table.page
	@PYTHONPATH=playbooks/collections:. $(VENV)/bin/python -m client_stacks.table

upgrade-table: $(VENV)/.installed
	@VENV=$(VENV) scripts/make-image
	@PYTHONPATH=playbooks/collections:. $(VENV)/bin/python -m upgrade_table

image: $(VENV)/.installed
	@VENV=$(VENV) scripts/make-image $(OTP)

clean:
	@if [ -d $(VENV) ]; then $(MAKE) --no-print-directory destroy; fi
	rm -rf --one-file-system client_stacks/.built $(VENV) $(VENV)-fuzz $(VENV)-peers .ansible .cache .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis embedded_node/ebin
	find certs config -mindepth 1 ! -name README.md -delete

.PHONY: node-packages
node-packages:
	@$(if $(EMBEDDED)$(BALANCED),scripts/debian-packages $(if $(EMBEDDED),$(NODE_PACKAGES)) \
	  $(if $(BALANCED),$(BALANCER_PACKAGES)),true)

$(VENV)/bin/python:
	@scripts/new-venv $(PYTHON) $(VENV)

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	@scripts/pip-install $(VENV) requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements.txt requirements-dev.txt | $(VENV)/bin/python
	@scripts/pip-install $(VENV) requirements-dev.txt
	@touch $(VENV)/.installed $@

$(VENV)-fuzz/.installed: requirements.txt requirements-fuzz.txt
	@test -x $(VENV)-fuzz/bin/python || scripts/new-venv $(PYTHON) $(VENV)-fuzz
	@scripts/pip-install $(VENV)-fuzz requirements-fuzz.txt
	@touch $@

# Tools that tests ask the same questions; requirements-peers.txt says why they are apart.
$(VENV)-peers/.installed: requirements-peers.txt
	@test -x $(VENV)-peers/bin/python || scripts/new-venv $(PYTHON) $(VENV)-peers
	@scripts/pip-install $(VENV)-peers requirements-peers.txt
	@touch $@
