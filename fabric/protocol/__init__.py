"""What nodes and proxies say to each other beside messages: views, markers, questions, notices of stray cancels."""
